"""What failures and ends mean for a flow as a whole."""
