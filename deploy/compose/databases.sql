-- Run once, by an empty PostgreSQL. The database `visionops` (governor, audit, label queue) is made by POSTGRES_DB.
CREATE DATABASE prefect;
CREATE DATABASE mlflow;
