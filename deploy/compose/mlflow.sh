#!/bin/sh
# MLflow's login. Its users lie in MLflow's own database; the file that names it, with its password, is in memory only.
set -eu
umask 077
cat > "$MLFLOW_AUTH_CONFIG_PATH" <<INI
[mlflow]
default_permission = READ
database_uri = $(printf %s "$MLFLOW_BACKEND_STORE_URI" | sed 's/%/%%/g')
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
INI
exec "$@"
