PATHS = {"chat-completions": "/v1/chat/completions", "image-generations": "/v1/images/generations"}
