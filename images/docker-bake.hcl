# All images for all architectures that their libraries exist for: docker buildx bake -f images/docker-bake.hcl --push \
#   --metadata-file metadata.json, then python images/pin.py metadata.json, which has the workflow use just these.
variable "REGISTRY" {
  default = "ghcr.io/sustainable-computing-io"
}
variable "VERSION" {
  default = "0.1.0"
}
variable "REVISION" {
  default = "unknown"
}

group "default" {
  targets = ["steps", "runtime-current", "runtime-estimator-2022", "sync"]
}

target "common" {
  context = "."
  args    = { VERSION = VERSION, REVISION = REVISION }
  platforms = ["linux/amd64", "linux/arm64"]
  attest    = ["type=provenance,mode=max"]
}

target "steps" {
  inherits   = ["common"]
  dockerfile = "images/steps.Dockerfile"
  tags       = ["${REGISTRY}/kepler-train:${VERSION}"]
}

target "runtime-current" {
  inherits   = ["common"]
  dockerfile = "images/runtime-current.Dockerfile"
  tags       = ["${REGISTRY}/kepler-train-current:${VERSION}"]
}

target "runtime-estimator-2022" {
  inherits   = ["common"]
  dockerfile = "images/runtime-estimator-2022.Dockerfile"
  platforms  = ["linux/amd64"]
  tags       = ["${REGISTRY}/kepler-train-estimator-2022:${VERSION}"]
}

target "sync" {
  inherits   = ["common"]
  dockerfile = "images/sync.Dockerfile"
  tags       = ["${REGISTRY}/kepler-train-sync:${VERSION}"]
}
