# The secret's place, not its text: that would stand in Terraform's state. docs/deployment.md says how it gets there.
resource "aws_secretsmanager_secret" "keys" {
  name_prefix             = "${var.name}-keys-"
  description             = "keys.json of python -m bentos.access: hashes of API keys"
  recovery_window_in_days = var.protected ? 30 : 0
}

locals {
  # Only ECS, for this account's tasks.
  trusts_tasks = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "ecs-tasks.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = { StringEquals = { "aws:SourceAccount" = aws_ecr_repository.service.registry_id } }
    }]
  })
  mounts_state = {
    Sid       = "State"
    Effect    = "Allow"
    Action    = ["elasticfilesystem:ClientMount", "elasticfilesystem:ClientWrite"]
    Resource  = aws_efs_file_system.state.arn
    Condition = { StringEquals = { "elasticfilesystem:AccessPointArn" = aws_efs_access_point.state.arn } }
  }
  # The one call that AWS has no resource for.
  logs_in = { Sid = "LogIn", Effect = "Allow", Action = "ecr:GetAuthorizationToken", Resource = "*" }
  pulls   = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
  pushes  = ["ecr:CompleteLayerUpload", "ecr:InitiateLayerUpload", "ecr:PutImage", "ecr:UploadLayerPart"]
}

# What ECS does to start a task.
resource "aws_iam_role" "start" {
  name_prefix        = "${var.name}-start-"
  assume_role_policy = local.trusts_tasks
}

resource "aws_iam_role_policy" "start" {
  role = aws_iam_role.start.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      local.logs_in,
      { Sid = "Image", Effect = "Allow", Action = local.pulls, Resource = aws_ecr_repository.service.arn },
      { Sid = "Keys", Effect = "Allow", Action = "secretsmanager:GetSecretValue", Resource = aws_secretsmanager_secret.keys.arn },
      {
        Sid      = "Logs"
        Effect   = "Allow"
        Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
        Resource = "${aws_cloudwatch_log_group.service.arn}:*"
      },
    ]
  })
}

# What the service itself may: its state folder, and nothing else of AWS.
resource "aws_iam_role" "service" {
  name_prefix        = "${var.name}-service-"
  assume_role_policy = local.trusts_tasks
}

resource "aws_iam_role_policy" "service" {
  role   = aws_iam_role.service.id
  policy = jsonencode({ Version = "2012-10-17", Statement = [local.mounts_state] })
}

# For the role of the machines that run the flows.
resource "aws_iam_policy" "flows" {
  name_prefix = "${var.name}-flows-"
  description = "State folder and bucket of ${var.name}"
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      local.mounts_state,
      { Sid = "List", Effect = "Allow", Action = "s3:ListBucket", Resource = aws_s3_bucket.data.arn },
      {
        Sid      = "Objects"
        Effect   = "Allow"
        Action   = ["s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject", "s3:PutObject"]
        Resource = "${aws_s3_bucket.data.arn}/*"
      },
    ]
  })
}

# For the role of the pipeline that builds images.
resource "aws_iam_policy" "push" {
  name_prefix = "${var.name}-push-"
  description = "Pushes images of ${var.name}"
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      local.logs_in,
      { Sid = "Push", Effect = "Allow", Action = concat(local.pulls, local.pushes), Resource = aws_ecr_repository.service.arn },
    ]
  })
}
