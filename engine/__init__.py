"""Tables, states and every write. Knows neither HTTP nor plugins."""
