"""Who may ask: tokens, sessions of browsers, people who log in elsewhere, and how much each may ask for."""
