resource "aws_cloudwatch_log_group" "service" {
  name              = "/visionops/${var.name}"
  retention_in_days = var.log_days
}

resource "aws_ecs_cluster" "this" {
  name = var.name

  setting {
    name  = "containerInsights"
    value = "enabled"
  }
}

locals {
  keys_file = "${local.image.access}/${local.image.keys_file}"
  settings = merge(var.settings, {
    VISIONOPS_STATE                       = local.image.state
    VISIONOPS_SYSTEM                      = var.system
    VISIONOPS__SERVING__WORKERS           = tostring(var.workers)
    VISIONOPS__SERVING__ACCESS__KEYS_FILE = local.keys_file
  })
  container = {
    image                  = "${aws_ecr_repository.service.repository_url}:${var.image_tag}"
    readonlyRootFilesystem = true
    linuxParameters        = { capabilities = { drop = ["ALL"], add = [] } }
    logConfiguration = {
      logDriver = "awslogs"
      options = {
        awslogs-group         = aws_cloudwatch_log_group.service.name
        awslogs-region        = var.region
        awslogs-stream-prefix = "service"
      }
    }
  }
  # The keys, for the service to read only.
  prepare = merge(local.container, {
    name        = "prepare"
    essential   = false
    user        = "0"
    command     = ["/bin/sh", "-c", file("${path.module}/prepare.sh")]
    environment = [{ name = "TEMPORARY", value = local.image.temporary }, { name = "KEYS_FILE", value = local.keys_file }]
    secrets     = [{ name = "KEYS", valueFrom = aws_secretsmanager_secret.keys.arn }]
    mountPoints = [
      { sourceVolume = "access", containerPath = local.image.access, readOnly = false },
      { sourceVolume = "temporary", containerPath = local.image.temporary, readOnly = false },
    ]
  })
  service = merge(local.container, {
    name         = "service"
    essential    = true
    user         = tostring(local.image.user)
    dependsOn    = [{ containerName = "prepare", condition = "SUCCESS" }]
    portMappings = [{ name = "http", containerPort = local.image.port, hostPort = local.image.port, protocol = "tcp" }]
    environment  = [for name in sort(keys(local.settings)) : { name = name, value = local.settings[name] }]
    # Longer than an answer takes.
    stopTimeout = 2 * local.image.request_s
    mountPoints = [
      { sourceVolume = "state", containerPath = local.image.state, readOnly = false },
      { sourceVolume = "access", containerPath = local.image.access, readOnly = true },
      { sourceVolume = "temporary", containerPath = local.image.temporary, readOnly = false },
    ]
  })
}

resource "aws_ecs_task_definition" "service" {
  family                   = var.name
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = var.cpu
  memory                   = var.memory
  execution_role_arn       = aws_iam_role.start.arn
  task_role_arn            = aws_iam_role.service.arn
  container_definitions    = jsonencode([local.prepare, local.service])

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = "X86_64"
  }

  volume {
    name = "access"
  }

  volume {
    name = "temporary"
  }

  volume {
    name = "state"

    efs_volume_configuration {
      file_system_id     = aws_efs_file_system.state.id
      transit_encryption = "ENABLED"

      authorization_config {
        access_point_id = aws_efs_access_point.state.id
        iam             = "ENABLED"
      }
    }
  }
}

resource "aws_ecs_service" "service" {
  name                               = "service"
  cluster                            = aws_ecs_cluster.this.id
  task_definition                    = aws_ecs_task_definition.service.arn
  desired_count                      = var.min_tasks
  launch_type                        = "FARGATE"
  platform_version                   = "1.4.0"
  propagate_tags                     = "SERVICE"
  enable_ecs_managed_tags            = true
  availability_zone_rebalancing      = "ENABLED"
  health_check_grace_period_seconds  = 120
  deployment_minimum_healthy_percent = 100
  deployment_maximum_percent         = 200

  # A version whose tasks do not become healthy is taken back.
  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  network_configuration {
    subnets          = local.private_subnets
    security_groups  = [aws_security_group.service.id]
    assign_public_ip = false
  }

  load_balancer {
    target_group_arn = aws_lb_target_group.service.arn
    container_name   = local.service.name
    container_port   = local.image.port
  }

  service_registries {
    registry_arn = aws_service_discovery_service.tasks.arn
  }

  lifecycle {
    ignore_changes = [desired_count] # the autoscaler's
  }

  depends_on = [
    aws_lb_listener.https,
    aws_efs_mount_target.state,
    aws_iam_role_policy.start,
    aws_iam_role_policy.service,
    module.network,
  ]
}

# Each task by its address, for Prometheus: the load balancer shows one at a time.
resource "aws_service_discovery_private_dns_namespace" "this" {
  name = "${var.name}.internal"
  vpc  = local.vpc_id
}

resource "aws_service_discovery_service" "tasks" {
  name          = "service"
  force_destroy = !var.protected

  dns_config {
    namespace_id = aws_service_discovery_private_dns_namespace.this.id

    dns_records {
      type = "A"
      ttl  = 15
    }
  }
}
