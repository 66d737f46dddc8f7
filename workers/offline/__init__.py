"""While the link is down: what is kept, estimated and settled here, and how it goes to the centre afterwards."""
