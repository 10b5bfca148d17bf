"""What runs at a pool that says where its miners are: its rows made, checked and sent."""
