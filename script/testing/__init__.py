"""What script/test runs once its packages are installed: the stages, and the servers they run on."""
