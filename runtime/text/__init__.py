"""What people write: articles, records, sentences, quantities, personal data. Knows no model."""
