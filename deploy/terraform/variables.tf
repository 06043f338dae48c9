variable "region" {
  description = "Region of AWS."
  type        = string

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "A region, such as eu-central-1."
  }
}

variable "name" {
  description = "Name of everything that is made; one for each service of an account."
  type        = string
  default     = "visionops"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,22}[a-z0-9]$", var.name))
    error_message = "3 to 24 lower-case letters, digits and hyphens: load balancers take no longer names."
  }
}

variable "system" {
  description = "The system that the image serves, as `make image SYSTEM=…` was told."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9_]*$", var.system))
    error_message = "The name of a file in configs/, such as quickstart."
  }
}

variable "image_tag" {
  description = "Version of the image in the registry, such as v1. A version is never overwritten there."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$", var.image_tag)) && var.image_tag != "latest"
    error_message = "A tag that was pushed, such as v1; not `latest`, by which nobody could go back."
  }
}

variable "certificate_arn" {
  description = "Certificate (ACM, of this region) of the name that clients call."
  type        = string

  validation {
    condition     = can(regex("^arn:aws[a-z-]*:acm:[a-z0-9-]+:[0-9]{12}:certificate/.+$", var.certificate_arn))
    error_message = "ARN of a certificate: arn:aws:acm:REGION:ACCOUNT:certificate/ID."
  }
}

variable "client_cidrs" {
  description = "Addresses that may call the service; [\"0.0.0.0/0\"] for the whole internet. An API key is asked for in any case."
  type        = list(string)

  validation {
    condition     = length(var.client_cidrs) > 0 && alltrue([for one in var.client_cidrs : can(cidrnetmask(one))])
    error_message = "At least one IPv4 range, such as 203.0.113.0/24."
  }
}

variable "internal" {
  description = "Whether the load balancer is reached from inside the network only."
  type        = bool
  default     = false
}

variable "network" {
  description = "A VPC of yours: subnets in two zones or more; tasks in the private ones must reach ECR, S3, CloudWatch Logs and Secrets Manager. null makes one without a way to the internet for tasks."
  type = object({
    vpc_id             = string
    public_subnet_ids  = list(string)
    private_subnet_ids = list(string)
  })
  default = null

  validation {
    condition     = var.network == null || try(length(var.network.public_subnet_ids) > 1 && length(var.network.private_subnet_ids) > 1, false)
    error_message = "A load balancer wants two subnets at least, in two zones, and so do the tasks."
  }
}

variable "network_cidr" {
  description = "Addresses of the VPC that is made when `network` is null."
  type        = string
  default     = "10.20.0.0/16"

  validation {
    condition     = can(cidrnetmask(var.network_cidr)) && try(tonumber(split("/", var.network_cidr)[1]) >= 16 && tonumber(split("/", var.network_cidr)[1]) <= 24, false)
    error_message = "An IPv4 range from /16 to /24."
  }
}

variable "network_zones" {
  description = "Letters of the zones in which that VPC has subnets; some regions have no `b` for every account."
  type        = list(string)
  default     = ["a", "b"]

  validation {
    condition     = length(distinct(var.network_zones)) >= 2 && length(var.network_zones) <= 6 && alltrue([for one in var.network_zones : can(regex("^[a-f]$", one))])
    error_message = "Two to six different letters, such as [\"a\", \"c\"]."
  }
}

variable "cpu" {
  description = "CPU units of one task; 1024 are one core."
  type        = number
  default     = 2048

  validation {
    condition     = contains([512, 1024, 2048, 4096, 8192, 16384], var.cpu)
    error_message = "512, 1024, 2048, 4096, 8192 or 16384: what Fargate has."
  }
}

variable "memory" {
  description = "Memory of one task, in MiB."
  type        = number
  default     = 4096

  validation {
    condition     = var.memory % 1024 == 0 && var.memory >= max(2048, 2 * var.cpu) && var.memory <= (var.cpu <= 512 ? 4096 : min(8 * var.cpu, 122880))
    error_message = "Whole GiB, 2 to 8 for each core of `cpu`, and 2048 MiB at least: what Fargate and the service want."
  }
}

variable "workers" {
  description = "Server processes of one task; one for each core."
  type        = number
  default     = 2

  validation {
    condition     = var.workers >= 1 && floor(var.workers) == var.workers && var.workers <= max(1, var.cpu / 1024)
    error_message = "A whole number from 1 to the cores of `cpu`."
  }
}

variable "min_tasks" {
  description = "Tasks that always run. 0 with `max_tasks` 0 makes everything but the tasks: the first time, before there is an image."
  type        = number
  default     = 2

  validation {
    condition     = var.min_tasks >= 0 && floor(var.min_tasks) == var.min_tasks
    error_message = "A whole number from 0."
  }
}

variable "max_tasks" {
  description = "The most tasks that the autoscaler starts."
  type        = number
  default     = 10

  validation {
    condition     = var.max_tasks >= var.min_tasks && floor(var.max_tasks) == var.max_tasks
    error_message = "A whole number, `min_tasks` at least."
  }
}

variable "cpu_target" {
  description = "Mean CPU, in percent, that the autoscaler holds."
  type        = number
  default     = 70

  validation {
    condition     = var.cpu_target >= 10 && var.cpu_target <= 95
    error_message = "From 10 to 95."
  }
}

variable "requests_target" {
  description = "Requests a minute and task that the autoscaler holds as well; null: CPU alone. Measure what one task does (docs/serving.md) and take two thirds."
  type        = number
  default     = null

  validation {
    condition     = var.requests_target == null || try(var.requests_target >= 1, false)
    error_message = "1 or more."
  }
}

variable "settings" {
  description = "More settings of the service, by environment variable: VISIONOPS__SERVING__MAX_BATCH = \"32\". No secrets: they stand in the task definition."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for name in keys(var.settings) : can(regex("^VISIONOPS__SERVING__[A-Z0-9_]+$", name))])
    error_message = "Names begin with VISIONOPS__SERVING__; the rest is set by variables here."
  }

  validation {
    condition     = !anytrue([for name in keys(var.settings) : can(regex("SECRET|PASSWORD|KEYS_FILE|WORKERS|REQUEST_TIMEOUT_S", name))])
    error_message = "No secret, and not KEYS_FILE, WORKERS or REQUEST_TIMEOUT_S: those are set here, or the load balancer goes by them."
  }
}

variable "state_clients" {
  description = "Security groups that may mount the state folder: those of the machines that run the flows."
  type        = list(string)
  default     = []
}

variable "metrics_clients" {
  description = "Security groups that may ask each task for /metrics: Prometheus's. The load balancer answers 404 there."
  type        = list(string)
  default     = []
}

variable "log_days" {
  description = "How long logs are kept."
  type        = number
  default     = 30

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_days)
    error_message = "A number of days that CloudWatch Logs has, such as 30, 90 or 365."
  }
}

variable "protected" {
  description = "Whether `terraform destroy` leaves the load balancer, and a bucket or registry that holds something."
  type        = bool
  default     = true
}

variable "tags" {
  description = "Tags of everything that is made, beside `application` and `system`."
  type        = map(string)
  default     = {}
}
