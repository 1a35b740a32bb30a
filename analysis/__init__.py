"""Statistics of result tables: correlation, gain, asymmetry, figures, report. Pure functions of data frames, no torch.

The way through: ``study.StudyTables.load(folder)``, ``study.analyse(tables)``, ``report.write_report(study, path, …)``.
Each step also stands alone: ``assessment.assess``, ``gain.gains``, ``asymmetry.asymmetry``, all of ``figures``.
"""
