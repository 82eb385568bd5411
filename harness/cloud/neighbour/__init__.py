"""The services beside ours that scripts use: IAM, Secrets Manager, CloudWatch, CloudFormation ...

They are moto's, in a process of its own (`host`), started with the first request that needs it.
"""
