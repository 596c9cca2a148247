"""Frames on a worker: conversion, writing, geometry, vibrations. No dynamics and no training."""
