"""Poly-1 losses that each do one dreadful thing: what an audit must survive, and say."""
