"""The pytest plug-in: an application's own tests, on each database that they are to run on."""
