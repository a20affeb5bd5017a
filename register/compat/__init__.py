"""The paths of Penstock's forerunners, with their own shapes: their clients work once the base URL is changed."""
