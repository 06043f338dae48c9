# `terraform test`: the provider's own schemas and rules, and answers made up in the place of AWS's.
mock_provider "aws" {
  mock_resource "aws_ecr_repository" {
    defaults = {
      arn            = "arn:aws:ecr:eu-central-1:111122223333:repository/visionops"
      registry_id    = "111122223333"
      repository_url = "111122223333.dkr.ecr.eu-central-1.amazonaws.com/visionops"
    }
  }
  mock_resource "aws_secretsmanager_secret" {
    defaults = { arn = "arn:aws:secretsmanager:eu-central-1:111122223333:secret:visionops-keys-abc" }
  }
  mock_resource "aws_efs_file_system" {
    defaults = { id = "fs-0123456789abcdef0", arn = "arn:aws:elasticfilesystem:eu-central-1:111122223333:file-system/fs-0123456789abcdef0" }
  }
  mock_resource "aws_efs_access_point" {
    defaults = { id = "fsap-0123456789abcdef0", arn = "arn:aws:elasticfilesystem:eu-central-1:111122223333:access-point/fsap-0123456789abcdef0" }
  }
  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::111122223333:role/visionops" }
  }
  mock_resource "aws_cloudwatch_log_group" {
    defaults = { arn = "arn:aws:logs:eu-central-1:111122223333:log-group:/visionops/visionops" }
  }
  mock_resource "aws_lb" {
    defaults = {
      arn        = "arn:aws:elasticloadbalancing:eu-central-1:111122223333:loadbalancer/app/visionops/0123456789abcdef"
      arn_suffix = "app/visionops/0123456789abcdef"
    }
  }
  mock_resource "aws_lb_target_group" {
    defaults = {
      arn        = "arn:aws:elasticloadbalancing:eu-central-1:111122223333:targetgroup/visionops/0123456789abcdef"
      arn_suffix = "targetgroup/visionops/0123456789abcdef"
    }
  }
  mock_resource "aws_lb_listener" {
    defaults = { arn = "arn:aws:elasticloadbalancing:eu-central-1:111122223333:listener/app/visionops/0123456789abcdef/0123456789abcdef" }
  }
  mock_resource "aws_ecs_cluster" {
    defaults = { id = "arn:aws:ecs:eu-central-1:111122223333:cluster/visionops" }
  }
  mock_resource "aws_ecs_task_definition" {
    defaults = { arn = "arn:aws:ecs:eu-central-1:111122223333:task-definition/visionops:1" }
  }
  mock_resource "aws_service_discovery_service" {
    defaults = { arn = "arn:aws:servicediscovery:eu-central-1:111122223333:service/srv-0123456789abcdef" }
  }
  mock_resource "aws_s3_bucket" {
    defaults = { id = "visionops-data-abc", bucket = "visionops-data-abc", arn = "arn:aws:s3:::visionops-data-abc" }
  }
}

variables {
  region          = "eu-central-1"
  system          = "quickstart"
  image_tag       = "v1"
  certificate_arn = "arn:aws:acm:eu-central-1:111122223333:certificate/00000000-0000-0000-0000-000000000000"
  client_cidrs    = ["203.0.113.0/24"]
}

run "the_first_time_there_is_no_image_yet" {
  variables {
    min_tasks = 0
    max_tasks = 0
  }
  assert {
    condition     = aws_ecs_service.service.desired_count == 0 && aws_appautoscaling_target.service.max_capacity == 0
    error_message = "everything but the tasks"
  }
}

run "the_service_is_what_the_image_is" {
  variables {
    settings = { VISIONOPS__SERVING__MAX_BATCH = "32" }
  }

  assert {
    condition     = jsondecode(aws_ecs_task_definition.service.container_definitions)[1].image == "111122223333.dkr.ecr.eu-central-1.amazonaws.com/visionops:v1"
    error_message = "the image of the registry that is made here"
  }
  assert {
    condition     = jsondecode(aws_ecs_task_definition.service.container_definitions)[1].portMappings[0].containerPort == local.image.port && one(aws_ecs_service.service.load_balancer).container_port == local.image.port && aws_lb_target_group.service.port == local.image.port
    error_message = "one port all the way"
  }
  assert {
    condition = { for one in jsondecode(aws_ecs_task_definition.service.container_definitions)[1].environment : one.name => one.value } == {
      VISIONOPS_STATE                       = "/var/lib/visionops"
      VISIONOPS_SYSTEM                      = "quickstart"
      VISIONOPS__SERVING__ACCESS__KEYS_FILE = "/etc/visionops/access/keys.json"
      VISIONOPS__SERVING__MAX_BATCH         = "32"
      VISIONOPS__SERVING__WORKERS           = "2"
    }
    error_message = "its settings, and no other"
  }
  assert {
    condition     = one(aws_lb_target_group.service.health_check).path == "/readyz" && aws_lb.service.idle_timeout > local.image.request_s && aws_lb.service.idle_timeout < local.image.keep_alive_s
    error_message = "asked whether it is ready; no connection is closed under a request"
  }
  assert {
    condition     = aws_appautoscaling_target.service.min_capacity == 2 && aws_appautoscaling_target.service.max_capacity == 10 && length(aws_appautoscaling_policy.requests) == 0
    error_message = "2 to 10 tasks, by CPU"
  }
}

run "nothing_has_more_rights_than_it_needs" {
  assert {
    condition     = alltrue([for one in jsondecode(aws_ecs_task_definition.service.container_definitions) : one.readonlyRootFilesystem && one.linuxParameters.capabilities.drop == ["ALL"]])
    error_message = "no container can write to its image or has a capability"
  }
  assert {
    condition     = jsondecode(aws_ecs_task_definition.service.container_definitions)[1].user == "1034" && alltrue([for one in jsondecode(aws_ecs_task_definition.service.container_definitions)[1].mountPoints : one.readOnly if one.sourceVolume == "access"])
    error_message = "the service is not root and cannot change its keys"
  }
  assert {
    condition     = jsondecode(aws_ecs_task_definition.service.container_definitions)[0].secrets == [{ name = "KEYS", valueFrom = aws_secretsmanager_secret.keys.arn }] && !contains(keys(jsondecode(aws_ecs_task_definition.service.container_definitions)[1]), "secrets")
    error_message = "the secret by reference, for the container that lays it down alone"
  }
  assert {
    condition     = [for one in jsondecode(aws_iam_role_policy.service.policy).Statement : one.Action] == [["elasticfilesystem:ClientMount", "elasticfilesystem:ClientWrite"]]
    error_message = "of AWS the service has its state folder, and not as root"
  }
  assert {
    condition = alltrue(flatten([for policy in [aws_iam_role_policy.start.policy, aws_iam_role_policy.service.policy, aws_iam_policy.flows.policy, aws_iam_policy.push.policy] : [
      for one in jsondecode(policy).Statement : (one.Resource != "*" || one.Action == "ecr:GetAuthorizationToken") && alltrue([for action in flatten([one.Action]) : !strcontains(action, "*")])
    ]]))
    error_message = "every right names its action, and its resource where AWS has one"
  }
  assert {
    condition     = aws_vpc_security_group_ingress_rule.from_balancer.referenced_security_group_id == aws_security_group.balancer.id && length(aws_vpc_security_group_ingress_rule.from_metrics_clients) == 0 && length(aws_vpc_security_group_ingress_rule.state_from_clients) == 0
    error_message = "the service is asked by the load balancer alone"
  }
  assert {
    condition     = !one(aws_ecs_service.service.network_configuration).assign_public_ip && one(aws_s3_bucket_public_access_block.data[*]).restrict_public_buckets && aws_efs_file_system.state.encrypted
    error_message = "nothing of it is public, what is kept is encrypted"
  }
}

run "clients_speak_tls_and_do_not_see_metrics" {
  assert {
    condition     = aws_lb_listener.https.protocol == "HTTPS" && strcontains(aws_lb_listener.https.ssl_policy, "TLS13") && one(one(aws_lb_listener.http.default_action).redirect).protocol == "HTTPS"
    error_message = "HTTP leads to HTTPS"
  }
  assert {
    condition     = one(one(one(aws_lb_listener_rule.metrics.condition).path_pattern).values) == "/metrics" && one(one(aws_lb_listener_rule.metrics.action).fixed_response).status_code == "404"
    error_message = "/metrics is for Prometheus"
  }
  assert {
    condition     = length(aws_vpc_security_group_ingress_rule.clients) == 2 && alltrue([for one in aws_vpc_security_group_ingress_rule.clients : one.cidr_ipv4 == "203.0.113.0/24"])
    error_message = "only those addresses, at 80 and 443"
  }
}

run "a_network_of_ones_own_is_used_as_it_is" {
  variables {
    network         = { vpc_id = "vpc-1", public_subnet_ids = ["subnet-1", "subnet-2"], private_subnet_ids = ["subnet-3", "subnet-4", "subnet-5"] }
    requests_target = 600
    metrics_clients = ["sg-1"]
    state_clients   = ["sg-2"]
  }
  assert {
    condition     = length(module.network) == 0 && aws_lb.service.subnets == toset(["subnet-1", "subnet-2"]) && [for one in aws_efs_mount_target.state : one.subnet_id] == ["subnet-3", "subnet-4", "subnet-5"]
    error_message = "no second network"
  }
  assert {
    condition     = one(one(aws_appautoscaling_policy.requests[0].target_tracking_scaling_policy_configuration).predefined_metric_specification).resource_label == "app/visionops/0123456789abcdef/targetgroup/visionops/0123456789abcdef"
    error_message = "requests of this target group"
  }
  assert {
    condition     = aws_vpc_security_group_ingress_rule.from_metrics_clients["sg-1"].from_port == 3000 && aws_vpc_security_group_ingress_rule.state_from_clients["sg-2"].from_port == 2049
    error_message = "Prometheus and the flows come in"
  }
}

run "inside_a_network_only" {
  variables {
    internal = true
  }
  assert {
    condition     = aws_lb.service.internal && aws_lb.service.subnets == toset(local.private_subnets)
    error_message = "in the private subnets"
  }
}

run "mistakes_are_told_before_anything_is_made" {
  command = plan
  variables {
    name            = "A"
    region          = "Frankfurt"
    system          = "no/such"
    image_tag       = "latest"
    certificate_arn = "my-certificate"
    client_cidrs    = []
    network_cidr    = "10.20.0.0/30"
    network_zones   = ["a"]
    memory          = 1024
    workers         = 3
    min_tasks       = 4
    max_tasks       = 3
    cpu_target      = 100
    requests_target = 0
    log_days        = 31
    settings        = { VISIONOPS__SERVING__ACCESS__TOKEN__SECRET = "abc" }
  }
  expect_failures = [
    var.name, var.region, var.system, var.image_tag, var.certificate_arn, var.client_cidrs, var.network_cidr, var.network_zones,
    var.memory, var.workers, var.max_tasks, var.cpu_target, var.requests_target, var.log_days, var.settings,
  ]
}
