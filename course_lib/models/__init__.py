"""Networks of the course and the layers they need."""
