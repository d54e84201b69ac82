"""Who calls, and what they may do: checked in each service, with what PostgreSQL says."""
