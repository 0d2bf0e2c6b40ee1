"""One module per backend; each declares a :class:`rxdb.Dialect` under the name ``dialect``."""
