"""The pages for people: rendered here, with live updates where the browser runs scripts."""
