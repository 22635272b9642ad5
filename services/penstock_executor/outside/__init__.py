"""What leaves the house: which addresses calls may reach, HTTP, what requests say and answers mean, mail services."""
