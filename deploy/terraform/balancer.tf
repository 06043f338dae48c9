resource "aws_lb" "service" {
  name                       = var.name
  internal                   = var.internal
  load_balancer_type         = "application"
  security_groups            = [aws_security_group.balancer.id]
  subnets                    = var.internal ? local.private_subnets : local.public_subnets
  drop_invalid_header_fields = true
  enable_deletion_protection = var.protected
  # Longer than the service takes for an answer, shorter than it keeps a connection: it would else close one under a request.
  idle_timeout = local.image.keep_alive_s - 15
}

resource "aws_lb_target_group" "service" {
  name                          = var.name
  vpc_id                        = local.vpc_id
  target_type                   = "ip"
  protocol                      = "HTTP"
  port                          = local.image.port
  load_balancing_algorithm_type = "least_outstanding_requests"
  # A task that goes answers first what it was asked.
  deregistration_delay = 2 * local.image.request_s

  # ECS replaces a task that fails here: a minute's patience, so that one that only has much to do stays.
  health_check {
    path                = local.image.ready
    matcher             = "200"
    interval            = 10
    timeout             = 5
    healthy_threshold   = 2
    unhealthy_threshold = 6
  }
}

resource "aws_lb_listener" "https" {
  load_balancer_arn = aws_lb.service.arn
  port              = 443
  protocol          = "HTTPS"
  ssl_policy        = "ELBSecurityPolicy-TLS13-1-2-2021-06"
  certificate_arn   = var.certificate_arn
  # The service speaks HTTP behind this, so that it can't say it itself.
  routing_http_response_strict_transport_security_header_value = local.image.transport

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.service.arn
  }
}

# Open inside the network; nothing of it is for clients.
resource "aws_lb_listener_rule" "metrics" {
  listener_arn = aws_lb_listener.https.arn
  priority     = 1

  condition {
    path_pattern {
      values = [local.image.metrics]
    }
  }

  action {
    type = "fixed-response"

    fixed_response {
      content_type = "text/plain"
      message_body = "Not found"
      status_code  = "404"
    }
  }
}

resource "aws_lb_listener" "http" {
  load_balancer_arn = aws_lb.service.arn
  port              = 80
  protocol          = "HTTP"

  default_action {
    type = "redirect"

    redirect {
      protocol    = "HTTPS"
      port        = "443"
      status_code = "HTTP_301"
    }
  }
}
