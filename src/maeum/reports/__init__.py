"""Pages, tables, figures and terminal views of results."""
