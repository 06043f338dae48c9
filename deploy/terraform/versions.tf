terraform {
  required_version = ">= 1.9"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }
}

provider "aws" {
  region = var.region

  default_tags {
    tags = merge({ application = "visionops", system = var.system }, var.tags)
  }
}

locals {
  # What the image is and how the service behaves; tests/unit/deploy/test_terraform.py holds each line to Dockerfile and code.
  image = jsondecode(file("${path.module}/image.json"))
}
