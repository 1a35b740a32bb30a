"""What tests share: paths, made-up tables, a tiny multimodal LLM, model servers."""
