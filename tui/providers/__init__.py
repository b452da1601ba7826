"""The wire protocols of model servers; the only package that knows the HTTP client."""
