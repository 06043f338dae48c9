module "network" {
  count  = var.network == null ? 1 : 0
  source = "./network"

  name   = var.name
  region = var.region
  cidr   = var.network_cidr
  zones  = var.network_zones
}

locals {
  vpc_id          = var.network == null ? module.network[0].vpc_id : var.network.vpc_id
  public_subnets  = var.network == null ? module.network[0].public_subnet_ids : var.network.public_subnet_ids
  private_subnets = var.network == null ? module.network[0].private_subnet_ids : var.network.private_subnet_ids
}

resource "aws_security_group" "balancer" {
  name        = "${var.name}-balancer"
  description = "Load balancer: called by clients, calls the service"
  vpc_id      = local.vpc_id
}

resource "aws_vpc_security_group_ingress_rule" "clients" {
  for_each = { for pair in setproduct(var.client_cidrs, [80, 443]) : "${pair[0]}-${pair[1]}" => pair }

  security_group_id = aws_security_group.balancer.id
  description       = each.value[1] == 443 ? "Clients" : "Clients, sent on to HTTPS"
  cidr_ipv4         = each.value[0]
  ip_protocol       = "tcp"
  from_port         = each.value[1]
  to_port           = each.value[1]
}

resource "aws_vpc_security_group_egress_rule" "to_service" {
  security_group_id            = aws_security_group.balancer.id
  description                  = "The service"
  referenced_security_group_id = aws_security_group.service.id
  ip_protocol                  = "tcp"
  from_port                    = local.image.port
  to_port                      = local.image.port
}

resource "aws_security_group" "service" {
  name        = "${var.name}-service"
  description = "Service: called by the load balancer and by Prometheus"
  vpc_id      = local.vpc_id
}

resource "aws_vpc_security_group_ingress_rule" "from_balancer" {
  security_group_id            = aws_security_group.service.id
  description                  = "Load balancer"
  referenced_security_group_id = aws_security_group.balancer.id
  ip_protocol                  = "tcp"
  from_port                    = local.image.port
  to_port                      = local.image.port
}

resource "aws_vpc_security_group_ingress_rule" "from_metrics_clients" {
  for_each = toset(var.metrics_clients)

  security_group_id            = aws_security_group.service.id
  description                  = "Prometheus"
  referenced_security_group_id = each.value
  ip_protocol                  = "tcp"
  from_port                    = local.image.port
  to_port                      = local.image.port
}

resource "aws_vpc_security_group_egress_rule" "to_state" {
  security_group_id            = aws_security_group.service.id
  description                  = "State folder"
  referenced_security_group_id = aws_security_group.state.id
  ip_protocol                  = "tcp"
  from_port                    = 2049
  to_port                      = 2049
}

# Image, logs and secret, which Fargate fetches by the task's own interface. In the VPC that is made here no route leads
# further than to AWS's own endpoints.
resource "aws_vpc_security_group_egress_rule" "to_aws" {
  security_group_id = aws_security_group.service.id
  description       = "ECR, S3, CloudWatch Logs, Secrets Manager"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

resource "aws_security_group" "state" {
  name        = "${var.name}-state"
  description = "State folder: mounted by the service and by who runs the flows"
  vpc_id      = local.vpc_id
}

resource "aws_vpc_security_group_ingress_rule" "state_from_service" {
  security_group_id            = aws_security_group.state.id
  description                  = "Service"
  referenced_security_group_id = aws_security_group.service.id
  ip_protocol                  = "tcp"
  from_port                    = 2049
  to_port                      = 2049
}

resource "aws_vpc_security_group_ingress_rule" "state_from_clients" {
  for_each = toset(var.state_clients)

  security_group_id            = aws_security_group.state.id
  description                  = "Flows"
  referenced_security_group_id = each.value
  ip_protocol                  = "tcp"
  from_port                    = 2049
  to_port                      = 2049
}
