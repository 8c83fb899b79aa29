"""The chapters of the scenario: what is done with the product, and what was seen. Judging is the checks' part."""
