"""The OpenAPI document of the gateway, generated from its schemas, routes and tables of errors."""
