"""What the rows tell: pages, exports, statistics; and their deletion."""
