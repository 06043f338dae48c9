#!/bin/sh
# SeaweedFS with one user of its S3 API, whose secret comes from the environment and lies in memory only.
set -eu
umask 077
cat > /dev/shm/s3.json <<JSON
{"identities": [{"name": "visionops", "credentials": [{"accessKey": "visionops", "secretKey": "$S3_SECRET"}],
  "actions": ["Admin", "Read", "Write", "List", "Tagging"]}]}
JSON
exec weed server -dir=/data -s3 -s3.port=8333 -s3.config=/dev/shm/s3.json
