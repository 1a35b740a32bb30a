"""What every part shares: errors, identities, atomic files, image reading and image sources."""
