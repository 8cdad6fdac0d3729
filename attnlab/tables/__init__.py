"""Tables: records -> rows, statistics, and a page in Markdown, LaTeX or HTML."""
