"""One strategy under many parameters: what to try, who tries it, what is kept."""
