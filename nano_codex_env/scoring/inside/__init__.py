"""What runs inside the boxes: it imports nothing of ours but its neighbours here."""
