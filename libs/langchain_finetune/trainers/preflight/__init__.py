"""What a job would do and cost, and what its host would refuse, before anything is uploaded."""
