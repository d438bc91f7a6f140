"""The conventions of /3.0 that the surfaces and the audience share."""
