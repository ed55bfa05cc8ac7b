"""placeholder by lead until the real one lands"""
import numpy as np
def summary(returns, seeds): return {"mean":float(np.mean(returns)),"std":float(np.std(returns)),"iqm":float(np.mean(returns)),"ci95":[0,0],"returns":[float(r) for r in returns],"seeds":list(seeds)}
