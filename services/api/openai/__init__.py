"""OpenAI's wire for files and fine-tuning jobs: data sets and jobs in other words. It keeps nothing of its own."""
