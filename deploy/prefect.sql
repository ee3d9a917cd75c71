-- Prefect keeps its runs apart from what restage knows.
CREATE DATABASE prefect OWNER restage;
