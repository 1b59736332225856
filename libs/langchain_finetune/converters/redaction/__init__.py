"""What is taken out of a row: secrets, personal data, what own rules name."""
