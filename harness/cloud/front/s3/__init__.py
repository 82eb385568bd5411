"""S3 on the API endpoint, as packaging tools, scripts and the AWS CLI use it."""
