"""Where Alembic meets the application: rxdb brings the database, the models and the safety.

`rxdb db migrate` and `alembic upgrade head` both run this file. run() takes what Alembic's
context.configure() takes, such as include_object=… or include_schemas=True.
"""

from rxdb.migrations.environment import run

run()
