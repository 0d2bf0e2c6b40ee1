"""Names and habits of other projects, on top of rxdb."""
