"""What each file has lost, measured on the company's own questions."""
