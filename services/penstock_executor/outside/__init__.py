"""What leaves the house: which addresses calls may reach, and the calls themselves."""
