"""Alembic's environment and the migrations, each frozen once it is released."""
