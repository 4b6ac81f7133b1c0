"""What is published: how it is built and checked, and what it promises to who installs it."""
