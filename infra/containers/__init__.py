"""What runs inside the containers beside the services: secrets, tokens, health checks."""
