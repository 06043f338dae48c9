output "balancer_dns_name" {
  description = "What the name of the certificate has to lead to (CNAME or alias)."
  value       = aws_lb.service.dns_name
}

output "balancer_zone_id" {
  description = "Zone of that name, for an alias in Route 53."
  value       = aws_lb.service.zone_id
}

output "repository_url" {
  description = "Where images are pushed to."
  value       = aws_ecr_repository.service.repository_url
}

output "keys_secret_arn" {
  description = "Secret that wants keys.json."
  value       = aws_secretsmanager_secret.keys.arn
}

output "cluster" {
  description = "ECS cluster; its service is `service`."
  value       = aws_ecs_cluster.this.name
}

output "log_group" {
  description = "Where the service logs."
  value       = aws_cloudwatch_log_group.service.name
}

output "metrics_name" {
  description = "DNS name with the address of each task, for Prometheus (dns_sd_configs, type A)."
  value       = "${aws_service_discovery_service.tasks.name}.${aws_service_discovery_private_dns_namespace.this.name}"
}

output "state_file_system_id" {
  description = "EFS file system of the state folder."
  value       = aws_efs_file_system.state.id
}

output "state_access_point_id" {
  description = "Access point by which the flows mount it."
  value       = aws_efs_access_point.state.id
}

output "dvc_remote" {
  description = "VISIONOPS_DVC_REMOTE of the flows."
  value       = "s3://${aws_s3_bucket.data.bucket}/dvc"
}

output "mlflow_artifacts" {
  description = "`--artifacts-destination` of MLflow's server."
  value       = "s3://${aws_s3_bucket.data.bucket}/mlflow"
}

output "flows_policy_arn" {
  description = "What the role of the machines that run the flows needs."
  value       = aws_iam_policy.flows.arn
}

output "push_policy_arn" {
  description = "What the role of the pipeline that pushes images needs."
  value       = aws_iam_policy.push.arn
}

output "vpc_id" {
  description = "The network, for machines that shall mount the state folder or ask for metrics."
  value       = local.vpc_id
}

output "private_subnet_ids" {
  description = "Its private subnets."
  value       = local.private_subnets
}
